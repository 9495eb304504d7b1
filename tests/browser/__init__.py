"""Pages in a real browser, served by the example project."""
