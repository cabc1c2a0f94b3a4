"""Engines that listen to music."""
