"""Maintenance: releases, links of the site, pages of run records."""
