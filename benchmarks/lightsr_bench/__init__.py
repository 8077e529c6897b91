"""Benchmarks of lightsr models beside what people use."""
