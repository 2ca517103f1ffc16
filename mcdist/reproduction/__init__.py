"""The paper's rows: what they are, what a result means beside them, and what a row costs. Nothing is trained here."""
