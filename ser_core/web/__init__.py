"""The web page: `words` and `theme`, `drawing` for HTML, one module a tab, `page` for the whole."""
