"""Typed models of what Linnet reads and what it emits; a consumer ignores unknown fields, a producer forbids them."""
