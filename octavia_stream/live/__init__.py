"""The live corridor: speech comes in as it is spoken, and goes out in other languages a few seconds later."""
