"""Rows and values, names, filters and order: what a call says about data, in the words of no back end."""
