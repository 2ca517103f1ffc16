"""Where a run happens, never what it computes."""
