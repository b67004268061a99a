"""The HTTP surface: a file for each noun, whose views are a contract and a few lines.

What they stand on, in the order in which a request comes by: `traffic` (its id, its line in the
log), `requests` and `bodies` (its body, read once), `auth` (who is asking), `parsing` (what a view
gets), `api` (the decorators that enforce and publish all this), `paging` (headers of lists),
`errors` (the answer to whatever goes wrong). `context` is what every view may use.
"""
