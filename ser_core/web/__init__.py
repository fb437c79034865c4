"""The web page: a module per tab, `page` for the whole, `components` and `drawing` for parts."""
