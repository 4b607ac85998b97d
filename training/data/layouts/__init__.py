"""Data sets in the forms that they are published in, one module a form."""
