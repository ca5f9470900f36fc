"""How long a partition goes unanswered when its worker dies, and how fast its state comes back."""
