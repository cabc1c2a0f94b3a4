"""Engines that tell speakers apart."""
