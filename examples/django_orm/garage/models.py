from django.core.validators import MinValueValidator
from django.db import models


class Car(models.Model):
    name = models.CharField(max_length=40, unique=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, validators=[MinValueValidator(0)])
    built = models.DateField()
