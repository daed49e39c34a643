"""Channels of type `DeltaChannel`, whose value lies in what the ancestors of a checkpoint wrote."""
