"""Readers of contact lists: files from spreadsheets, phones and other programs, read as a stream.

These modules use no database and no request, and do not parse phone numbers.
"""
