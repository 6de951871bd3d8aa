"""The programs of the stand-in for OMS; see README of the image."""
