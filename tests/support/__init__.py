"""What tests of several members share."""
