"""A forge on one machine: a bare repository whose hooks run the real .gitlab-ci.yml on `git push`."""
