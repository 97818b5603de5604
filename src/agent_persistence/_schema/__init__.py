"""Where a declared schema comes from and how it is written down, as plain mappings; `schema_registry` checks them."""
