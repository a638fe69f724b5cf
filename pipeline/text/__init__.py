"""From HTML to clean text: extraction in a sandbox, normalisation, language, quality rules."""
