"""The composition: settings in, components put together, outputs out."""
