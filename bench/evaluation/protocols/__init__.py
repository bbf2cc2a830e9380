"""Evaluation protocols as data: one file for each public code base that the field's figures come from."""
