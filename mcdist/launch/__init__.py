"""Where a run happens, never what it computes: the request (cluster), what runs (spec), how it gets there (submission, local), what happens in it (job)."""
