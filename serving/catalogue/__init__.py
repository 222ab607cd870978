"""A bundle's items: attributes, filters, popularity."""
