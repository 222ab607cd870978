"""Profile refreshes and the choices of users about their profiles."""
