"""Probing, decoding, resampling and cutting of audio and video with PyAV."""
