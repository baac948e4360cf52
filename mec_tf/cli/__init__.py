"""The `mec-tf` commands; each is a thin call of the library."""
