"""What servers replied, and what we said of it, for pages."""

from django import template

from delivery.reply_words import reply_words

register = template.Library()
register.filter(reply_words)
