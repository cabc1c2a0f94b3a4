"""What is measured on music, without any engine."""
