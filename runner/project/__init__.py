"""The MLproject format: entry points, parameters, and what is wrong with them."""
