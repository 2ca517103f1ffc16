"""Fuzz: every reader of files from elsewhere is given broken and hostile ones, and may only read them or refuse them in one sentence."""
