"""Virtual environments: made by virtualenv or uv, and filled."""
