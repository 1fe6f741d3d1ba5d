/* plant: which fault is in force. Compiled for `make PLANT=1` only (plant.h); read once, before main, and never changed. */
#include "base/plant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static plant_name armed = PLANTS;

static const char *const names[PLANTS] = {
#define PLANT(name, check, text) #name,
#include "base/plant.def"
#undef PLANT
};

__attribute__((constructor)) static void arm(void) {
    const char *want = getenv("MURRE_PLANT");
    if (!want || !*want) return;
    for (int i = 0; i < PLANTS; i++)
        if (strcmp(names[i], want) == 0) armed = (plant_name)i;
    if (armed != PLANTS) return;
    (void)fprintf(stderr, "MURRE_PLANT: there is no fault %s; src/base/plant.def lists them\n", want);
    exit(2);
}

bool plant_is(plant_name n) { return n == armed; }
