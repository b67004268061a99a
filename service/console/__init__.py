"""The console: the service in a browser, for people.

A file for each noun, whose views call `core` as those of the API do and fill a template of
`templates/console`. What they stand on: `access` (who is signed in, what a view asks for, forms
that come from elsewhere), `shell` (what all pages have in common), `language` (words of the
viewer), `formats` (numbers, moments and telephone numbers as people write them), `notices` (one
sentence about what was done), `bars` (how a broadcast fares, as a picture).
"""
