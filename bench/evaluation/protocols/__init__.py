"""Evaluation protocols as data: what each public code base of the field computes."""
