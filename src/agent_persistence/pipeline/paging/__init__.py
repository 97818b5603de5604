"""A query whose answer needs several requests: page after page, list after list."""
