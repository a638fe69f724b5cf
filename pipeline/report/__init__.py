"""One self-contained page that says what a run built, and checks that it adds up."""
