"""Lines of the source that are broken one by one, to see that a test notices: `make mutation`."""
