"""The binding types of this app, one file each."""
