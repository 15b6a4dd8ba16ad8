"""What Compox keeps its data with; each part says what takes its place here."""
