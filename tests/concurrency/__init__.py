"""Several gunicorn workers, several client processes, one database server."""
