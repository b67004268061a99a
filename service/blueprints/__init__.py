"""The HTTP API: one file per noun.

A request passes through these modules in this order: `traffic` (request id and log line),
`requests` and `bodies` (read the body), `auth` (identify the caller), `parsing` (validate fields),
`api` (decorators that enforce and document a route), `paging` (headers of lists) and `errors`
(answers to failures). Every view may use `context`.
"""
