"""What other tools may ask the extender: scores in grams, explanations, and the document that says how.

Types are msgspec's; the OpenAPI document is made from them, so that neither can say what
the other doesn't. Errors are problem details (RFC 9457).
"""
