"""Lists: files of people as spreadsheets, telephones and programs write them, read as a stream.

Nothing here knows a database, a request or what a telephone number is.
"""
