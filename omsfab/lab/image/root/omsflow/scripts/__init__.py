"""Scripts that docker_init.sh runs."""
