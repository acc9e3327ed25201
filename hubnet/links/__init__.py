"""Links: dialling, pooling, serving. A link is one authenticated byte stream that carries one exchange at a time."""
