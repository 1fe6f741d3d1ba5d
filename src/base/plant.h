#ifndef BASE_PLANT_H
#define BASE_PLANT_H
/* plant: faults put in on purpose, to see that the tests find them (docs/plant.md). Each stands in one line where a real one would:
 *
 *     if (e == ERR_OK && !plant(ACK_BEFORE_SYNC)) e = l->s->file_sync(l->s, g->fd);
 *
 * In every build but that of `make PLANT=1` it is the constant false, and the compiler leaves nothing of it. There, the environment
 * variable MURRE_PLANT names one fault of plant.def, for the life of the process; a name that is not there ends the process, with status 2,
 * before anything else happens. A name that is not in plant.def does not compile, in any build. */
#include <stdbool.h>

typedef enum plant_name {
#define PLANT(name, check, text) PLANT_##name,
#include "base/plant.def"
#undef PLANT
    PLANTS
} plant_name;

#ifdef MURRE_PLANT
bool plant_is(plant_name n); /* from any thread */
#define plant(name) plant_is(PLANT_##name)
#else
#define plant(name) ((int)PLANT_##name < 0)
#endif

#endif
