"""Models of sites that have their own, and what holds for such a site; used by test_swapped_models.py."""
