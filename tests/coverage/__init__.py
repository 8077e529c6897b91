"""What the tests reach in the runtime and the export: `make coverage`."""
