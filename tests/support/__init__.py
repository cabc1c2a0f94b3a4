"""Fixtures, fakes and checks that tests of several members share."""
